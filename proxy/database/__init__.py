"""PostgreSQL under LiteLLM: an embedded server, the migrations, and the query engine LiteLLM reaches it with."""
