"""Labels from language models: requests and replies, an endpoint or batch files, votes, agreement, and written queries."""
