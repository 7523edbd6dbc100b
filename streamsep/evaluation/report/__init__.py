"""The report of a comparison: one HTML page that needs no network, with sound, pictures and figures inside."""
