"""How a picture is judged without a target: score distillation from pretrained text-to-image models, one judge a file."""
