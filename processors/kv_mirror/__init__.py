"""Mirrors kill flags and org keys from `control` to a Cloudflare KV namespace, where edge workers read them (B-027,
B-030). A part of the control process, running where CF_ACCOUNT_ID, CF_KV_NAMESPACE_ID and CF_API_TOKEN are set.
"""
