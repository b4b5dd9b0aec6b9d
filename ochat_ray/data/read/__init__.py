"""What goes in: files of many formats to documents, and documents to what they say."""
