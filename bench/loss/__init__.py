"""Quality against packet loss: streamcodec with and without its remedies, and Opus, on the same clips and losses."""
