"""The sanity step: a few real training steps in a child process, and what they did to every tensor."""
