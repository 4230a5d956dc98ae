#!/bin/sh -e
echo "laid by base" | sudo tee /etc/foundation
