"""What `awfproxy demo` puts behind the daemon in place of Squid and the provider; nothing else imports it."""
