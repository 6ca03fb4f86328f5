"""What the rules and dashboards look like in stacks that don't read plain files: `python -m deploy.src` writes it under deploy/."""
