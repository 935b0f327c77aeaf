"""Makes the chatbot good, offline. Knows nothing of the web, of databases or of the service."""
