<powershell></powershell>
