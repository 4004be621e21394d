"""Delivery: each admitted event to each of its routes by a signed POST, and what became of every attempt on the log.

Read in this order: decide (what is sent, what an answer means), tracker (what may be confirmed), lanes (who goes next),
guard and http_client (one attempt), endpoints, outcomes, agent.
"""
