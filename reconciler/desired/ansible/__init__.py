"""What a playbook draws on, by the rules of Ansible, read without running it."""
