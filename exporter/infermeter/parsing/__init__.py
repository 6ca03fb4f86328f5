"""What operators write, read strictly: YAML to the configuration's schema, with every problem told at once. Pure."""
