"""What each server speaks, as pure codecs: bytes in, meanings out. No I/O."""
