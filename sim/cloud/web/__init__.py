"""The web console of the cloud (NiceGUI). Pages are thin: all they do is a caller's `Operations`."""
