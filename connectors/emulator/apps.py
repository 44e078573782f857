"""App registrations of the tenant: who may ask for a token, with which proof, and what the token then allows."""

from datetime import datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from connectors.emulator.noise import Noise

# What an exporter needs that reads everything but bodies; `AppRegistration.grant` adds to it.
ALL_ROLES = (
    "User.Read.All",
    "Group.ReadBasic.All",
    "GroupMember.ReadBasic.All",
    "MailboxSettings.Read",
    "Mail.ReadBasic.All",
    "Contacts.Read",
    "Calendars.ReadBasic.All",
    "Team.ReadBasic.All",
    "Channel.ReadBasic.All",
    "ChannelMessage.Read.All",
    "Chat.Read.All",
    "CallRecords.Read.All",
    "OnlineMeetings.Read.All",
    "OnlineMeetingArtifact.Read.All",
)
FEDERATED_AUDIENCE = "api://AzureADTokenExchange"


class AppRegistration:
    """One app. Keys are made when first needed, as RSA keys take a while."""

    def __init__(self, noise: Noise, number: int, *, roles: tuple[str, ...], not_before: datetime) -> None:
        self.client_id = noise.guid("client", number)
        self.object_id = noise.guid("service-principal", number)
        self.client_secret = f"{noise.token('secret', number)[:34]}~8Q"
        self.expired_secret = f"{noise.token('expired-secret', number)[:34]}~7Q"
        self.roles = list(roles)
        self.federated_issuer = "https://issuer.emulator.example"
        self.federated_subject = f"system:serviceaccount:exports:exporter-{number}"
        self.rbac_mailboxes: frozenset[str] = frozenset()  # granted in Exchange only; never shows in a token
        self.meeting_users: frozenset[str] | None = None  # covered by the Teams application access policy; None: all
        self._not_before = not_before

    def grant(self, role: str) -> None:
        """Consents to a role; tokens issued from now on carry it."""
        if role not in self.roles:
            self.roles.append(role)

    def revoke(self, role: str) -> None:
        """Takes a role back; tokens already issued keep it."""
        self.roles.remove(role)

    def grant_in_exchange(self, *user_ids: str) -> None:
        """Role-based access control for applications: these mailboxes, without any role in the token."""
        self.rbac_mailboxes |= frozenset(user_ids)

    def cover_meetings_of(self, *user_ids: str) -> None:
        """The application access policy of Teams: only the meetings of these users can be read."""
        self.meeting_users = frozenset(user_ids)

    @cached_property
    def federation_key(self) -> rsa.RSAPrivateKey:
        """The key with which the external identity provider signs."""
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    @cached_property
    def certificate_key(self) -> rsa.RSAPrivateKey:
        """The private key of the registered certificate."""
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The registered certificate, self-signed."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "m365-export emulator")])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.certificate_key.public_key())
            .serial_number(1)
            .not_valid_before(self._not_before)
            .not_valid_after(self._not_before + timedelta(days=3_650))
            .sign(self.certificate_key, hashes.SHA256())
        )

    @property
    def certificate_der(self) -> bytes:
        """What thumbprints are made of."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def certificate_pem(self) -> str:
        """Private key and certificate in one PEM text."""
        key = self.certificate_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return (key + self.certificate.public_bytes(serialization.Encoding.PEM)).decode()
