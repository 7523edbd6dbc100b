"""What turns the knobs of a stream while it plays."""
