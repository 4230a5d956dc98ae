#!/bin/sh -eu
echo 'version 1' | sudo tee /etc/appliance
