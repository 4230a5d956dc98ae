environment = "prod"
extra_script = "scripts/prod.sh"
