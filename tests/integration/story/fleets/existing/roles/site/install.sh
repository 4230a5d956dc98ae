#!/bin/sh -e
echo "site" | sudo tee /etc/site
