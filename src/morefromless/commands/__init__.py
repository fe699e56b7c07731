"""What each command does, once its options are known. The machinery is imported when needed."""
