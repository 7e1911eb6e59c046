"""Quality under packet loss: systems with all that they have against it, at rates counted on the wire."""
