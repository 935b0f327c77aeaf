"""The pages of those who own studies: draft, fill, invite, watch, close."""
