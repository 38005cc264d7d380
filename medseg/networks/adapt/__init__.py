"""The tool that makes a given network adaptive."""
