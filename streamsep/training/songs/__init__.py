"""Songs without end: composed or read from MIDI, played by samples and soundfonts, sung, mixed, kept on disk."""
