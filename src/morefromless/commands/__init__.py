"""The function of each command, called with its options. Heavy modules are imported on demand."""
