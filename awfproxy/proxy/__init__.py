"""One request's life: from the client's connection to the upstream one and back."""
