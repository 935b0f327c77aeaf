"""The chatbot: text in, text out. Knows nothing of the web, of databases or of training."""
