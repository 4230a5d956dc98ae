"""AWS: sessions, clients, and what its errors mean here."""
