"""What taskconn looks like in use: applications to copy from, the demo, and the private servers that it runs on."""
