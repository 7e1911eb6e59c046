"""Quality under packet loss at equal wire rate: streamcodec as a call has it, and Opus with DRED."""
