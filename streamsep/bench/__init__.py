"""How long the steps of a model take, what they cost, and what the machine itself does meanwhile."""
