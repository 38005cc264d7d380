"""The tool that makes an existing network adaptive."""
