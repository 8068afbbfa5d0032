"""What the algorithms share on Stable-Baselines3's side; it knows none of them."""
