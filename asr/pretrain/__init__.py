"""Self-supervised pretraining: objectives as interchangeable parts, and the task that trains them."""
