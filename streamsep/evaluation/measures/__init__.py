"""What can be said of a separated stem beside its truth, each measure in bounded memory, whatever the song's length."""
