"""The image and the compose file, really built and really run."""
