"""The service: lets people talk to the chatbot and judge it. Never imports training, nor torch."""
