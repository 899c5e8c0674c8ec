"""What the simulator answers, whoever asks: a Prompt in, a Reply out (reply.py), and what that takes."""
