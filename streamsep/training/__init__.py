"""Training: cached audio, random mixtures, losses and a resumable loop. Knows models only by what they compute."""
