"""Object stores behind one interface: local folder, memory."""
