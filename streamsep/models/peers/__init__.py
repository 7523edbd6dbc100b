"""What others built, small and in our contract, to be trained on the same data for as long as our models."""
