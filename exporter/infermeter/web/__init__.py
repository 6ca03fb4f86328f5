"""The HTTP face: metrics, health, report and findings. It is handed functions and knows nothing of what they compute."""
