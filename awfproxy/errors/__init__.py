"""Every way to fail: one class each, with status, code, hop, sentence and fix."""
