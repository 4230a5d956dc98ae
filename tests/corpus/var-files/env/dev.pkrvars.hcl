environment = "dev"
extra_script = "scripts/dev.sh"
