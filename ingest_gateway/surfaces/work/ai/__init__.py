"""`/v1/ai/*`: plans and summaries by a language model, under the tenant's guardrails."""
