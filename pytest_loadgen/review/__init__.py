"""What kept runs say afterwards: judged by other objectives, or compared with those of another session."""
