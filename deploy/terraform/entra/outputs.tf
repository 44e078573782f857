output "client_ids" {
  description = "For connectors.CONNECTOR.auth.client_id in the settings file."
  value       = { for connector, application in azuread_application.connector : connector => application.client_id }
}
