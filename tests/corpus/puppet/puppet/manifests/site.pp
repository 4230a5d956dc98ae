node default { include proxy }
