"""The servers that can be measured: how each is installed, started and prepared."""
