"""Delivery: each admitted event to each of its routes by a signed POST, and what became of every attempt on the log.

Read in this order: decide (what is sent, what an answer means and what comes next), tracker (what may be confirmed),
lanes (who goes next), breaker and gates (who may go at all), waiting (the durable table), schedule and feeder (from
there into the lanes), guard and http_client (one attempt), endpoints, settling (what is written), agent.
"""
