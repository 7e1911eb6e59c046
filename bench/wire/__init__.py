"""What a call costs on the wire, measured on a network device."""
